"""Work off the script thread: the lanes it waits in, and what runs there."""
