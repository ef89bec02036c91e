"""The campaign file's form as JSON Schema, which editors complete and check by."""

import json
from typing import Any

from hil.campaign.config import CampaignConfig
from hil.campaign.config_source import BENCH_SECTIONS

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def campaign_schema() -> dict[str, Any]:
    """Return the JSON Schema of a campaign file."""
    schema = CampaignConfig.model_json_schema()
    definitions = schema.get("$defs", {})
    for definition in definitions.values():
        if "properties" in definition:
            definition["additionalProperties"] = False  # unlike a dataclass's, which pydantic opens
    return {"$schema": _DIALECT, **schema, "title": "aimc-hil campaign file"}


def bench_schema() -> dict[str, Any]:
    """Return the JSON Schema of a bench file: what a campaign file may include."""
    schema = json.loads(json.dumps(campaign_schema()))
    kept = {"schema_version", "include", *BENCH_SECTIONS}
    properties = {key: value for key, value in schema["properties"].items() if key in kept}
    for definition in schema["$defs"].values():
        definition.pop("required", None)  # the campaign may say the rest
    del schema["required"]
    return {**schema, "title": "aimc-hil bench file", "properties": properties}
