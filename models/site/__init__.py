"""What the documentation site plays: five recordings of our own, and what the shipped models answer."""
