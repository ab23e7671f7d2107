"""Rows of the emulated org one by one (/sobjects) and in collections (/composite/sobjects)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from behavio.targets.emulator.jobs import Refused
from behavio.targets.emulator.values import RowError, long_id
from behavio.targets.emulator.web import Answer, Request, say

if TYPE_CHECKING:
    from behavio.targets.emulator.salesforce import SalesforceEmulator

MOST = 200


class Rows:
    """Reads and writes of rows in JSON."""

    def __init__(self, emulator: SalesforceEmulator) -> None:
        self.emulator = emulator
        self.store = emulator.store

    def one(self, request: Request, object: str, parts: list[str]) -> Answer:
        """/sobjects/OBJECT, /sobjects/OBJECT/ID, /sobjects/OBJECT/FIELD/VALUE."""
        method = request.method
        if not parts:
            if method != "POST":
                return say({"objectDescribe": {"name": object}, "recentItems": []})
            self.emulator.strike(self.emulator.spoiled())
            id, _ = self.store.save(object, flat(request.json()), only="insert")
            return say({"id": id, "success": True, "errors": []}, 201)
        key, value = (parts[0], parts[1]) if len(parts) == 2 else (self.store.names.id, long_id(parts[0]))
        ids = self.store.find(object, key, value)
        if method == "PATCH":
            self.emulator.strike(self.emulator.spoiled())
            if len(parts) == 1:
                self.store.save(object, flat(request.json()), id=value, only="update")
                return Answer(204)
            id, new = self.store.save(object, {**flat(request.json()), key: value}, key=key)
            return say({"id": id, "success": True, "errors": [], "created": new}, 201 if new else 200)
        if not ids:
            raise Refused("NOT_FOUND", "The requested resource does not exist", 404)
        if method == "DELETE":
            self.store.delete(object, ids[0])
            return Answer(204)
        return say(self._told(object, ids[0], request.query.get("fields", "")))

    def _told(self, object: str, id: str, fields: str) -> dict[str, Any] | None:
        from behavio.targets.emulator.salesforce import spoken

        row = self.store.row(object, long_id(id))
        if row is None or row.get(self.store.names.deleted):
            return None
        spec = self.store.spec(object)
        wanted = [f for f in fields.split(",") if f] or list(row)
        if unknown := [f for f in wanted if f not in spec.fields]:
            raise Refused("INVALID_FIELD", f"No such column {unknown[0]!r} on entity {object!r}")
        told = {f: spoken(spec.fields[f].kind, row[f]) for f in [*wanted, "Id"]}
        return {"attributes": {"type": object, "url": f"/sobjects/{object}/{id}"}, **told}

    # collections ---------------------------------------------------------------------------------

    def composite(self, request: Request, parts: list[str]) -> Answer:
        """/composite/sobjects and what stands below it."""
        if parts[:1] != ["sobjects"] or len(parts) > 3:
            raise Refused("NOT_FOUND", "The requested resource does not exist", 404)
        method, rest = request.method, parts[1:]
        if method == "DELETE":
            ids = [i for i in request.query.get("ids", "").split(",") if i]
            whole = request.query.get("allOrNone", "false").lower() == "true"
            return self._each([{"Id": i} for i in ids], whole, self._delete)
        if len(rest) == 1:  # rows by their ids
            asked = (
                request.json() if method == "POST" else {k: v.split(",") for k, v in request.query.items()}
            )
            fields = ",".join(asked.get("fields", ()))
            return say([self._told(rest[0], i, fields) for i in asked.get("ids", ())])
        given = request.json()
        rows, whole = list(given.get("records", ())), bool(given.get("allOrNone", False))
        if method == "POST" and not rest:
            return self._each(rows, whole, lambda o, v: self.store.save(o, v, only="insert"))
        if method != "PATCH":
            raise Refused("METHOD_NOT_ALLOWED", f"HTTP method {method} not allowed", 405)
        if not rest:
            return self._each(rows, whole, self._update)
        object, key = rest
        spec = self.store.schema.get(object)
        if spec is None or key not in spec.fields or not (spec.fields[key].key or key == "Id"):
            raise Refused(
                "NOT_FOUND", f"Provided external ID field does not exist or is not accessible: {key}", 404
            )
        if wrong := [r for r in rows if r.get("attributes", {}).get("type") not in (None, object)]:
            raise Refused("INVALID_INPUT", f"a record of another type: {wrong[0]['attributes']['type']}")
        seen = Counter(str(r.get(key)) for r in rows)

        def upsert(_: str, values: dict[str, Any]) -> tuple[str, bool]:
            if seen[str(values.get(key))] > 1:
                raise RowError(
                    "DUPLICATE_EXTERNAL_ID", f"Duplicate external id specified: {values.get(key)}", (key,)
                )
            return self.store.save(object, values, key=key)

        return self._each(rows, whole, upsert, created=True)

    def _update(self, object: str, values: dict[str, Any]) -> tuple[str, bool]:
        id = str(values.pop("Id", values.pop("id", "")) or "")
        if not id:
            raise RowError("MISSING_ARGUMENT", "Id not specified in an update call")
        return self.store.save(object, values, id=id, only="update")

    def _delete(self, object: str, values: dict[str, Any]) -> tuple[str, bool]:
        id = long_id(str(values["Id"]))
        for name, spec in self.store.schema.items():
            if id.startswith(spec.prefix) and self.store.find(name, "Id", id):
                self.store.delete(name, id)
                return id, False
        raise RowError("ENTITY_IS_DELETED", "entity is deleted")

    def _each(
        self,
        rows: list[dict[str, Any]],
        whole: bool,
        write: Callable[[str, dict[str, Any]], tuple[str, bool]],
        created: bool = False,
    ) -> Answer:
        """Write every row; with `whole`, all or none. The answer keeps the order of the rows."""
        if len(rows) > MOST:
            raise Refused(
                "EXCEEDED_ID_LIMIT",
                f"record limit reached. cannot submit more than {MOST} records in this request",
            )
        answers: list[dict[str, Any]] = []
        fault = self.emulator.spoiled()
        with self.store.lock:
            self.store.sql.execute("BEGIN")
            for row in rows:
                try:
                    self.emulator.strike(fault)
                    id, new = write(str(row.get("attributes", {}).get("type", "")), flat(row))
                    answers.append(
                        {"id": id, "success": True, "errors": [], **({"created": new} if created else {})}
                    )
                except RowError as problem:
                    answers.append(failed(problem))
                except KeyError as problem:
                    answers.append(failed(RowError("INVALID_TYPE", f"there is no object {problem}")))
            undo = whole and not all(a["success"] for a in answers)
            self.store.sql.execute("ROLLBACK" if undo else "COMMIT")
        if undo:
            none = failed(
                RowError(
                    "ALL_OR_NONE_OPERATION_ROLLED_BACK",
                    "Record rolled back because not all records were valid",
                )
            )
            answers = [none if a["success"] else a for a in answers]
        return say(answers)


def failed(problem: RowError) -> dict[str, Any]:
    """The answer to a row that was not written."""
    error = {"statusCode": problem.code, "message": problem.message, "fields": list(problem.fields)}
    return {"success": False, "errors": [error]}


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a record; a nested one names the row it points to: {"Account_vod__r": {"ID_vod__c": "7"}}."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if name == "attributes":
            continue
        if isinstance(value, Mapping):
            found |= {f"{name}.{k}": v for k, v in value.items() if k != "attributes"}
        else:
            found[name] = value
    return found
