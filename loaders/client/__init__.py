"""What every vendor's client shares: its interface, errors of HTTP, pace, schema of payloads, calendars."""
