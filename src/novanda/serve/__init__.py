"""The web service and its page: fitted detectors behind HTTP, for untrusted images.

`app.create_app` makes the application of the detectors it is given, `server.run` binds and runs it. Nothing here opens
a file that a client names: models are those named at start, images are decoded in memory, the page's files are read
once.
"""
