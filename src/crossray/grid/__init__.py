"""Many runs from one file: pretrained and evaluated one after the other, gone on with after a stop."""
