"""The pure middle: events, and what they add up to. Knows no clock, no database and no thread."""
