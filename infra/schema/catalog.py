# ruff: noqa: S608 - the queries are put together from constants
"""The actual schema, as the server itself writes it.

The contract is read in the same way: the revisions are run in the temporary schema and rolled back. So both sides come
from one server, and need no parser to be compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from infra.schema.quoting import quoted
from infra.schema.revisions import created

TEMPORARY = "pg_temp"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column.

    Attributes:
        type: with its precision, such as `numeric(18,6)`.
        is_required: NOT NULL.
        default: its expression.
        has_sequence: it numbers new rows by itself, as an identity or by `nextval`.
        is_generated: its values are computed by an expression of other columns, which `default` is.
        comment: what is written beside it.
    """

    type: str
    is_required: bool
    default: str | None
    has_sequence: bool
    is_generated: bool
    comment: str | None


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """A primary key (`p`), unique (`u`) or CHECK (`c`) constraint."""

    kind: str
    columns: frozenset[str]
    definition: str
    expression: str | None
    is_valid: bool


@dataclass(frozen=True, kw_only=True)
class Index:
    """An index.

    Attributes:
        definition: what follows USING, which leaves out its name and table.
        columns: those of its key and its predicate.
        is_key: unique for all rows, and checked at once: fit for a constraint and for ON CONFLICT.
        is_valid: not left over by a build that was interrupted.
        of_constraint: it belongs to a constraint.
    """

    definition: str
    columns: frozenset[str]
    is_unique: bool
    is_key: bool
    is_valid: bool
    of_constraint: bool


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table, or what has the name of one.

    Attributes:
        kind: `r` for an ordinary table, as in `pg_class.relkind`.
        owner: the role that it belongs to.
        may_alter: whether this role has the rights of the owner.
        may_read: whether this role may read it.
        has_rows: whether there is a row; only looked up for ordinary tables.
        options: storage options such as `fillfactor`.
        comment: what is written beside it.
        triggers: by name, their definition, and whether they fire.
        referenced_by: foreign keys that point here, as `(table, constraint)`.
    """

    kind: str
    owner: str
    may_alter: bool
    may_read: bool
    has_rows: bool
    options: Mapping[str, str]
    comment: str | None
    columns: dict[str, Column] = field(default_factory=dict)
    constraints: dict[str, Constraint] = field(default_factory=dict)
    indexes: dict[str, Index] = field(default_factory=dict)
    triggers: dict[str, tuple[str, bool]] = field(default_factory=dict)
    referenced_by: list[tuple[str, str]] = field(default_factory=list)

    def has_constraint(self, name: str, contract: Constraint) -> bool:
        """Whether the table has a constraint, or one that is as good, under any name."""
        if contract.kind == "c":
            same = (there for there in self.constraints.values() if there.definition == contract.definition)
            return any(there.is_valid or not contract.is_valid for there in same)
        if name in self.indexes and not self.indexes[name].of_constraint:
            return False  # an index of ours that is not a constraint yet
        return any(
            there.is_key and there.is_valid and there.columns == contract.columns for there in self.indexes.values()
        )


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Everything of a schema that has a name of the contract's.

    Attributes:
        relations: the kind of each table, index, sequence and view in the schema: they share one space of names.
    """

    tables: dict[str, Table]
    functions: dict[str, str]
    relations: dict[str, str]


def read_contract(connection: Connection, statements: Sequence[str]) -> Catalog:
    """What statements create in an empty schema. Roll the transaction back: it holds the temporary tables.

    Args:
        connection: in a transaction.
        statements: of the revisions, for `TEMPORARY`.
    """
    for statement in statements:
        connection.exec_driver_sql(statement)
    name = connection.scalar(text("SELECT nspname FROM pg_namespace WHERE oid = pg_my_temp_schema()"))
    return read(connection, str(name), statements, written=TEMPORARY)


def read(connection: Connection, schema: str, statements: Sequence[str], *, written: str | None = None) -> Catalog:
    """What a schema has of the tables and functions that statements create.

    Args:
        connection: in a transaction.
        schema: the schema's name in the catalog.
        statements: of the revisions.
        written: how the schema's own statements name it, if not so.
    """
    names = {quoted(schema), quoted(written or schema)}
    parameters = {
        "schema": schema,
        "tables": created("TABLE", statements),
        "functions": created("FUNCTION", statements),
    }

    def rows(query: str) -> list[Any]:
        return list(connection.execute(text(query), parameters))

    def bare(definition: str) -> str:
        for name in names:
            definition = definition.replace(f"{name}.", "").replace(f"pg_catalog, {name}, pg_temp", "its own")
        return definition

    found = {
        row.name: Table(
            kind=row.kind,
            owner=row.owner,
            may_alter=row.may_alter,
            may_read=row.may_read,
            has_rows=row.kind == "r" and row.may_read and _has_rows(connection, quoted(schema), row.name),
            options=dict(option.split("=", 1) for option in row.options),
            comment=row.comment,
        )
        for row in rows(_TABLES)
    }
    for row in rows(_COLUMNS):
        found[row.relation].columns[row.name] = Column(
            type=row.type,
            is_required=row.is_required,
            default=row.default,
            has_sequence=row.has_sequence,
            is_generated=row.is_generated,
            comment=row.comment,
        )
    for row in rows(_CONSTRAINTS):
        found[row.relation].constraints[row.name] = Constraint(
            kind=row.kind,
            columns=frozenset(row.columns),
            definition=row.definition.removesuffix(" NOT VALID"),
            expression=row.expression,
            is_valid=row.is_valid,
        )
    for row in rows(_INDEXES):
        found[row.relation].indexes[row.name] = Index(
            definition=row.definition.split(" USING ", 1)[1],
            columns=frozenset(row.columns),
            is_unique=row.is_unique,
            is_key=row.is_key,
            is_valid=row.is_valid,
            of_constraint=row.of_constraint,
        )
    for row in rows(_TRIGGERS):
        found[row.relation].triggers[row.name] = (bare(row.definition), row.is_enabled)
    for row in rows(_FOREIGN_KEYS):
        found[row.relation].referenced_by.append((row.source, row.name))
    return Catalog(
        tables=found,
        functions={row.name: bare(row.definition) for row in rows(_FUNCTIONS)},
        relations={row.name: row.kind for row in rows(_RELATIONS)},
    )


def _has_rows(connection: Connection, schema: str, table: str) -> bool:
    return bool(connection.exec_driver_sql(f"SELECT EXISTS (SELECT FROM {schema}.{table})").scalar_one())


_OURS = "n.nspname = :schema AND t.relname = ANY (CAST(:tables AS text[]))"

_RELATIONS = """
SELECT relname AS name, relkind::text AS kind
FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace WHERE n.nspname = :schema
"""

_TABLES = f"""
SELECT t.relname AS name, t.relkind::text AS kind, pg_get_userbyid(t.relowner) AS owner,
       pg_has_role(t.relowner, 'USAGE') AS may_alter,
       has_table_privilege(t.oid, 'SELECT') AS may_read, coalesce(t.reloptions, '{{}}') AS options,
       obj_description(t.oid, 'pg_class') AS comment
FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace WHERE {_OURS} ORDER BY t.oid
"""

# PostgreSQL 18 has NOT NULL constraints that are not validated yet: they promise nothing of the rows that are there.
_COLUMNS = f"""
SELECT t.relname AS relation, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull AND NOT EXISTS (
           SELECT FROM pg_constraint c WHERE c.conrelid = t.oid AND c.contype = 'n' AND c.conkey = ARRAY[a.attnum]
           AND NOT c.convalidated) AS is_required,
       pg_get_expr(d.adbin, d.adrelid) AS default,
       a.attidentity <> '' OR coalesce(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%', false) AS has_sequence,
       a.attgenerated <> '' AS is_generated, col_description(t.oid, a.attnum) AS comment
FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum
WHERE {_OURS} ORDER BY t.relname, a.attnum
"""

_CONSTRAINTS = f"""
SELECT t.relname AS relation, c.conname AS name, c.contype::text AS kind, c.convalidated AS is_valid,
       pg_get_constraintdef(c.oid) AS definition, pg_get_expr(c.conbin, c.conrelid) AS expression,
       coalesce((SELECT array_agg(a.attname::text) FROM pg_attribute a
           WHERE a.attrelid = t.oid AND a.attnum = ANY (c.conkey)), '{{}}') AS columns
FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_constraint c ON c.conrelid = t.oid AND c.contype IN ('p', 'u', 'c')
WHERE {_OURS} ORDER BY t.relname, c.oid
"""

# The columns of an index are those that it depends on: key, expressions and predicate.
_INDEXES = f"""
SELECT t.relname AS relation, x.relname AS name, pg_get_indexdef(i.indexrelid) AS definition,
       i.indisunique AS is_unique, i.indisvalid AS is_valid,
       i.indisunique AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL AS is_key,
       EXISTS (SELECT FROM pg_constraint c
           WHERE c.conindid = i.indexrelid AND c.contype IN ('p', 'u')) AS of_constraint,
       coalesce((SELECT array_agg(a.attname::text) FROM pg_attribute a WHERE a.attrelid = t.oid AND (
           a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) OR EXISTS (
               SELECT FROM pg_depend d WHERE d.objid = i.indexrelid AND d.refobjid = t.oid
               AND d.refobjsubid = a.attnum AND (i.indpred IS NOT NULL OR i.indexprs IS NOT NULL)))), '{{}}') AS columns
FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_index i ON i.indrelid = t.oid JOIN pg_class x ON x.oid = i.indexrelid
WHERE {_OURS} ORDER BY t.relname, x.oid
"""

_TRIGGERS = f"""
SELECT t.relname AS relation, g.tgname AS name, pg_get_triggerdef(g.oid) AS definition,
       g.tgenabled IN ('O', 'A') AS is_enabled
FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal WHERE {_OURS}
"""

_FOREIGN_KEYS = f"""
SELECT t.relname AS relation, c.conrelid::regclass::text AS source, c.conname AS name
FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_constraint c ON c.confrelid = t.oid AND c.contype = 'f' AND c.conparentid = 0
WHERE {_OURS} ORDER BY t.relname, c.oid
"""

_FUNCTIONS = """
SELECT p.proname AS name, concat_ws(E'\\n', CASE WHEN p.prosecdef THEN 'SECURITY DEFINER' END,
       CASE WHEN EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) WHERE grantee = 0)
           THEN 'PUBLIC' END,
       array_to_string(p.proconfig, ', '), p.prosrc) AS definition
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = :schema AND p.proname = ANY (CAST(:functions AS text[])) AND p.pronargs = 0
"""
