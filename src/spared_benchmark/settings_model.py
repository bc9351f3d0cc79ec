"""The base of typed settings: unknown keys are errors that name the nearest known key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from spared_benchmark.errors import ConfigurationError, nearest


class Settings(BaseModel):
    """Frozen settings that refuse keys they do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


Model = TypeVar("Model", bound=BaseModel)


def parse(model: type[Model], content: Any, where: str) -> tuple[Model | None, list[str]]:
    """Validate ``content`` and return it with every problem found, one line each.

    Args:
        model: The settings class.
        content: What the configuration holds.
        where: Prefix of each line: the place a person has to look at.
    """
    try:
        return model.model_validate(content), []
    except ValidationError as error:
        return None, [_line(model, problem, where) for problem in error.errors()]


def parsed(model: type[Model], content: Any, where: str) -> Model:
    """Validate ``content`` or raise one error with every problem.

    Raises:
        ConfigurationError: When anything in ``content`` is wrong.
    """
    result, problems = parse(model, content, where)
    if result is None:
        raise ConfigurationError("\n".join(problems))
    return result


def _line(model: type[BaseModel], problem: Mapping[str, Any], where: str) -> str:
    location = [str(part) for part in problem["loc"]]
    place = ".".join([where, *location])
    if problem["type"] == "extra_forbidden":
        known = _fields(model, location[:-1])
        allowed = f"; known keys: {', '.join(known)}" if known else ""
        return f"{place}: unknown key{nearest(location[-1], known)}{allowed}"
    if problem["type"] == "missing":
        return f"{place}: required key is missing"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {message} (found {problem['input']!r})"


def _fields(model: type[BaseModel], location: list[str]) -> list[str]:
    current: Any = model
    for part in location:
        if not _is_model(current):
            return []
        annotation = current.model_fields[part].annotation if part in current.model_fields else None
        candidates = [annotation, *_unpacked(annotation)]
        current = next((candidate for candidate in candidates if _is_model(candidate)), current)
    return sorted(current.model_fields) if _is_model(current) else []


def _unpacked(annotation: Any) -> list[Any]:
    inner = [item for argument in get_args(annotation) for item in [argument, *_unpacked(argument)]]
    return list(inner)


def _is_model(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, BaseModel)
