"""The campaign file's form as JSON Schema, which editors complete and check by."""

import json
from typing import Any

from hil.campaign.chips.choice import CHIP_NAME, DEVICES
from hil.campaign.config.sections import CampaignConfig
from hil.campaign.config.source import BENCH_SECTIONS

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def campaign_schema() -> dict[str, Any]:
    """Return the JSON Schema of a campaign file."""
    schema = CampaignConfig.model_json_schema()
    _add_devices(schema)
    definitions = schema.get("$defs", {})
    for definition in definitions.values():
        if "properties" in definition:
            definition["additionalProperties"] = False  # unlike a dataclass's, which pydantic opens
    return {"$schema": _DIALECT, **schema, "title": "aimc-hil campaign file"}


def _add_devices(schema: dict[str, Any]) -> None:
    """Let a form say ``[devices.NAME]``, each with some of the keys of ``[device]``."""
    whole, definitions = schema["properties"]["device"], schema["$defs"]
    part = json.loads(json.dumps(definitions["DeviceSection"]))
    part.pop("required", None)
    part["title"] = "PartOfDeviceSection"
    definitions["PartOfDeviceSection"] = part
    some = {"$ref": "#/$defs/PartOfDeviceSection"}
    schema["properties"][DEVICES] = {
        "type": "object",
        "title": "Devices",
        "description": "Chips by name, each with keys that replace those of device.",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^(?:{CHIP_NAME.pattern})$"},
        "additionalProperties": some,
    }
    schema["properties"]["device"] = some
    schema["required"].remove("device")
    schema["if"] = {"required": [DEVICES]}
    schema["else"] = {"required": ["device"], "properties": {"device": whole}}


def bench_schema() -> dict[str, Any]:
    """Return the JSON Schema of a bench file: what a campaign file may include."""
    schema = json.loads(json.dumps(campaign_schema()))
    kept = {"schema_version", "include", *BENCH_SECTIONS}
    properties = {key: value for key, value in schema["properties"].items() if key in kept}
    for definition in schema["$defs"].values():
        definition.pop("required", None)  # the campaign may say the rest
    for key in ("required", "if", "else"):
        del schema[key]
    return {**schema, "title": "aimc-hil bench file", "properties": properties}
