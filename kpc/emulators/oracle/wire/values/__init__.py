"""Single values: the scalar codecs, bind values as they come in, OUT values as they go back."""
