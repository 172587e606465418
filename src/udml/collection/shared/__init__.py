"""A collection that many services share: vectors and items in Milvus, files where the data are.

    udml_champion            an alias of the collection that serves
    udml_v3_0123abcd         the images of v3, those added since among them; its manifest's sha256 begins so
    udml_versions            what the index of each of them says of itself
    udml_changes             what was added and removed, whichever version serves
    udml_building_...        a version that is being pushed; nobody reads it

A reader takes the name behind the alias once, and asks only for what that names. Nothing here imports
pymilvus before a connection is opened.
"""
