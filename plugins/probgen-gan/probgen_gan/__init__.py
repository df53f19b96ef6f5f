"""Generative adversarial networks behind probgen's three hooks."""

__all__ = ["member"]


def __getattr__(name: str) -> object:
    # torch is imported when something is used, not when the package is found
    if name == "member":
        from probgen_gan.implicit import member

        return member
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
