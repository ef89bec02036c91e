"""What a campaign would do, take and need, found before it runs."""
