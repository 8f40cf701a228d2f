"""What the gateway answers, as an OpenAPI 3.1 document, made from the protos and the comments in them."""
