"""Tables made of result lines, published figures beside measured ones. Nothing is typed in: every figure is read."""
