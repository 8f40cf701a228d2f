"""A look into the graph for people: nodes by id and name, what happened to one, what is around it, and a map."""
