"""The collection as tools of an assistant, over the Model Context Protocol. They only read."""
