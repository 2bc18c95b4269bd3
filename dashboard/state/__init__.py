"""What a browser session holds, and what a study and this process know."""
