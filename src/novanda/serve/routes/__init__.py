"""What the service answers: one file for routes that belong together, one function a route."""

from novanda.serve.routes import feedback, scores, status

ROUTERS = (scores.router, feedback.router, status.router)

__all__ = ["ROUTERS"]
