"""The seal on settled pools and the notice of touched boards (DESIGN section 2, Sealing and Ranking).

Functions that read or lock tables are SECURITY DEFINER: a writer needs no right on pools or touches, and FOR KEY SHARE
asks for more than SELECT. Their search path is fixed, with the temporary schema last, so that no one can slip a table
of his own under them. Who may not disable triggers cannot get past them.
"""

from dataclasses import dataclass

REFUSED = "AJ001"  # the SQLSTATE of every refusal: what a platform catches


@dataclass(frozen=True, kw_only=True)
class Function:
    """A trigger function. Each body is written without schema; the header places it."""

    name: str
    body: str
    reads_tables: bool = True

    def statement(self, schema: str) -> str:
        """CREATE OR REPLACE in a schema, given as it is written in SQL."""
        path = f"pg_catalog, {schema}, pg_temp" if self.reads_tables else "pg_catalog, pg_temp"
        security = " SECURITY DEFINER" if self.reads_tables else ""
        return (
            f"CREATE OR REPLACE FUNCTION {schema}.{self.name}() RETURNS trigger\n"
            f"LANGUAGE plpgsql{security} SET search_path = {path} AS $${self.body}$$"
        )


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """A trigger on one of the platform's tables."""

    name: str
    table: str
    event: str
    action: str
    function: str

    def statement(self, schema: str) -> str:
        """CREATE OR REPLACE in a schema, given as it is written in SQL."""
        return (
            f"CREATE OR REPLACE TRIGGER {self.name} {self.event} ON {schema}.{self.table}\n"
            f"{self.action} EXECUTE FUNCTION {schema}.{self.function}()"
        )


FUNCTIONS = (
    Function(
        name="arcade_jobs_seal_pool",
        reads_tables=False,
        body="""
DECLARE
  refusal text;
BEGIN
  IF TG_OP = 'DELETE' THEN
    refusal = 'it cannot be deleted';
  ELSIF OLD.status = 'active' THEN
    refusal = 'it is finalized first, then paid';
  ELSE
    refusal = concat_ws(', ',
      CASE WHEN NEW.id IS DISTINCT FROM OLD.id THEN 'id' END,
      CASE WHEN NEW.game_type IS DISTINCT FROM OLD.game_type THEN 'game_type' END,
      CASE WHEN NEW.period_type IS DISTINCT FROM OLD.period_type THEN 'period_type' END,
      CASE WHEN NEW.period_date IS DISTINCT FROM OLD.period_date THEN 'period_date' END,
      CASE WHEN NEW.total_amount_usdc IS DISTINCT FROM OLD.total_amount_usdc THEN 'total_amount_usdc' END,
      CASE WHEN NEW.total_games IS DISTINCT FROM OLD.total_games THEN 'total_games' END,
      CASE WHEN NEW.winner_address IS DISTINCT FROM OLD.winner_address THEN 'winner_address' END,
      CASE WHEN NEW.winner_score IS DISTINCT FROM OLD.winner_score THEN 'winner_score' END,
      CASE WHEN NEW.created_at IS DISTINCT FROM OLD.created_at THEN 'created_at' END,
      CASE WHEN NEW.finalized_at IS DISTINCT FROM OLD.finalized_at THEN 'finalized_at' END,
      CASE WHEN NEW.settled_by IS DISTINCT FROM OLD.settled_by THEN 'settled_by' END,
      CASE WHEN NEW.entries_passed_over IS DISTINCT FROM OLD.entries_passed_over THEN 'entries_passed_over' END);
    IF refusal <> '' THEN
      refusal = refusal || ' cannot change';
    ELSIF (NEW.status, NEW.payout_tx_hash) IS NOT DISTINCT FROM (OLD.status, OLD.payout_tx_hash) THEN
      RETURN NEW;  -- a column of the platform's own
    ELSIF OLD.status = 'finalized' AND NEW.status = 'paid' AND NEW.payout_tx_hash <> '' THEN
      RETURN NEW;
    ELSE
      refusal = 'status and payout_tx_hash change once, from finalized to paid with the hash of the payout';
    END IF;
  END IF;
  RAISE EXCEPTION USING ERRCODE = 'AJ001', MESSAGE = format('prize pool %s (%s, %s %s) is %s: %s',
    OLD.id, OLD.game_type, OLD.period_type, OLD.period_date, OLD.status, refusal);
END
""",
    ),
    Function(
        name="arcade_jobs_seal_all_pools",
        body="""
DECLARE
  pool record;
BEGIN
  SELECT id, game_type, period_type, period_date, status INTO pool
  FROM prize_pools WHERE status <> 'active' ORDER BY id LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'AJ001', MESSAGE = format(
      'prize pool %s (%s, %s %s) is %s: prize_pools cannot be truncated',
      pool.id, pool.game_type, pool.period_type, pool.period_date, pool.status);
  END IF;
  -- A stricter level looks with a snapshot that may be older than a settlement.
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    RAISE EXCEPTION USING ERRCODE = 'AJ001', MESSAGE =
      'prize_pools can be truncated under READ COMMITTED only: this transaction may not see what was settled';
  END IF;
  RETURN NULL;
END
""",
    ),
    Function(
        name="arcade_jobs_seal_entry",
        body="""
DECLARE
  pool record;
BEGIN
  -- S08: the lock waits for a settlement that is under way, and a settlement waits for it. No pool, nothing to seal.
  SELECT id, status INTO pool FROM prize_pools
  WHERE game_type = NEW.game_type AND period_type = NEW.period_type AND period_date = NEW.period_date
  FOR KEY SHARE;
  IF pool.status <> 'active' THEN
    RAISE EXCEPTION USING ERRCODE = 'AJ001', MESSAGE = format(
      'prize pool %s (%s, %s %s) is %s: no score of its period can be added or changed',
      pool.id, NEW.game_type, NEW.period_type, NEW.period_date, pool.status);
  END IF;
  IF TG_OP = 'UPDATE' THEN
    IF (OLD.game_type, OLD.period_type, OLD.period_date) IS DISTINCT FROM
       (NEW.game_type, NEW.period_type, NEW.period_date) THEN
      SELECT id, status INTO pool FROM prize_pools
      WHERE game_type = OLD.game_type AND period_type = OLD.period_type AND period_date = OLD.period_date
      FOR KEY SHARE;
      IF pool.status <> 'active' THEN
        RAISE EXCEPTION USING ERRCODE = 'AJ001', MESSAGE = format(
          'prize pool %s (%s, %s %s) is %s: no score can be moved out of its period',
          pool.id, OLD.game_type, OLD.period_type, OLD.period_date, pool.status);
      END IF;
    END IF;
  END IF;
  RETURN NULL;
END
""",
    ),
    Function(
        name="arcade_jobs_touch_board",
        body="""
BEGIN
  INSERT INTO leaderboard_touches (game_type, period_type, period_date)
  VALUES (NEW.game_type, NEW.period_type, NEW.period_date);
  IF TG_OP = 'UPDATE' THEN
    IF (OLD.game_type, OLD.period_type, OLD.period_date) IS DISTINCT FROM
       (NEW.game_type, NEW.period_type, NEW.period_date) THEN
      INSERT INTO leaderboard_touches (game_type, period_type, period_date)
      VALUES (OLD.game_type, OLD.period_type, OLD.period_date);
    END IF;
  END IF;
  RETURN NULL;
END
""",
    ),
    Function(
        name="arcade_jobs_touch_boards",
        body="""
BEGIN
  INSERT INTO leaderboard_touches (game_type, period_type, period_date)
  SELECT DISTINCT game_type, period_type, period_date FROM deleted;
  RETURN NULL;
END
""",
    ),
)

# What moves an entry in its board, or to another one. A rank or a session id does not, nor an upsert that changes
# nothing: hence AFTER, and a condition instead of a list of columns, which would miss what a BEFORE trigger changed.
_MOVED = (
    "(OLD.score, OLD.created_at, OLD.player_address, OLD.game_type, OLD.period_type, OLD.period_date)"
    " IS DISTINCT FROM"
    " (NEW.score, NEW.created_at, NEW.player_address, NEW.game_type, NEW.period_type, NEW.period_date)"
)

# PostgreSQL fires the triggers of one event by name: "seal" comes before "touch".
# S08: whoever writes; no row gets past them. S13: nor does a deletion go unnoticed.
TRIGGERS = (
    Trigger(
        name="arcade_jobs_seal_update",
        table="prize_pools",
        event="BEFORE UPDATE",
        action="FOR EACH ROW WHEN (OLD.status <> 'active' OR NEW.status = 'paid')",
        function="arcade_jobs_seal_pool",
    ),
    Trigger(
        name="arcade_jobs_seal_delete",
        table="prize_pools",
        event="BEFORE DELETE",
        action="FOR EACH ROW WHEN (OLD.status <> 'active')",
        function="arcade_jobs_seal_pool",
    ),
    Trigger(
        name="arcade_jobs_seal_truncate",
        table="prize_pools",
        event="BEFORE TRUNCATE",
        action="FOR EACH STATEMENT",
        function="arcade_jobs_seal_all_pools",
    ),
    Trigger(
        name="arcade_jobs_seal_insert",
        table="leaderboard_entries",
        event="AFTER INSERT",
        action="FOR EACH ROW WHEN (NEW.period_type <> 'alltime')",
        function="arcade_jobs_seal_entry",
    ),
    Trigger(
        name="arcade_jobs_seal_update",
        table="leaderboard_entries",
        event="AFTER UPDATE",
        action=f"FOR EACH ROW WHEN ((NEW.period_type <> 'alltime' OR OLD.period_type <> 'alltime') AND {_MOVED})",
        function="arcade_jobs_seal_entry",
    ),
    Trigger(
        name="arcade_jobs_touch_insert",
        table="leaderboard_entries",
        event="AFTER INSERT",
        action="FOR EACH ROW",
        function="arcade_jobs_touch_board",
    ),
    Trigger(
        name="arcade_jobs_touch_update",
        table="leaderboard_entries",
        event="AFTER UPDATE",
        action=f"FOR EACH ROW WHEN ({_MOVED})",
        function="arcade_jobs_touch_board",
    ),
    Trigger(
        name="arcade_jobs_touch_delete",
        table="leaderboard_entries",
        event="AFTER DELETE",
        action="REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT",
        function="arcade_jobs_touch_boards",
    ),
)
