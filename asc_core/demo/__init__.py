"""The embedded demo: five small applications over one world of facts, no network needed."""
