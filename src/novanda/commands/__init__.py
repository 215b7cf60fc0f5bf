"""What each command does, one file for those that belong together; `cli` parses the words and picks one."""
