-- 0004: one trigger for each write of an entry instead of three, and no pattern that each new rank is matched with.
--
-- This file is frozen: it is never edited, a later revision changes what it made.
-- A statement ends with a semicolon and an empty line. By hand, after 0003: psql -v schema=public -f 0004_writes.sql

-- What 0001 to 0003 do in three functions, in the same order: check, seal, touch. Statement-level triggers would be faster
-- in bulk, and slower for the one row that a platform writes.
CREATE OR REPLACE FUNCTION :"schema".arcade_jobs_guard_entry() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, :"schema", pg_temp AS $$
#variable_conflict use_variable  -- a column of the platform's own may have the name of one
DECLARE
  reached_at timestamptz;
  kept_at timestamptz;
  pool record;
  is_new boolean = TG_OP = 'INSERT';
  is_moved boolean = NOT is_new AND (OLD.game_type, OLD.period_type, OLD.period_date) IS DISTINCT FROM
                                    (NEW.game_type, NEW.period_type, NEW.period_date);
  is_placed boolean = is_new OR is_moved OR (OLD.score, OLD.created_at, OLD.player_address) IS DISTINCT FROM
                                            (NEW.score, NEW.created_at, NEW.player_address);
BEGIN
  -- S23: an entry without its session could hide the player's true best. S24: its time, which decides between equal
  -- scores, is when its session was completed. The session is locked against deletion until the entry is committed, so
  -- that either the entry is refused or the deletion is noticed after it.
  IF is_new OR (OLD.session_id, OLD.score, OLD.created_at, OLD.player_address, OLD.game_type) IS DISTINCT FROM
               (NEW.session_id, NEW.score, NEW.created_at, NEW.player_address, NEW.game_type) THEN
    SELECT completed_at INTO reached_at FROM game_sessions
    WHERE id = NEW.session_id AND status = 'completed'
      AND player_address = NEW.player_address AND game_type = NEW.game_type AND score = NEW.score
    FOR KEY SHARE;
    IF NOT FOUND THEN
      RAISE EXCEPTION USING ERRCODE = 'AJ002', MESSAGE = format(
        'leaderboard entry of %s (%s, %s %s, score %s): session %s is no completed session of the same player, game and score',
        NEW.player_address, NEW.game_type, NEW.period_type, NEW.period_date, NEW.score, NEW.session_id);
    END IF;
    IF NEW.created_at <> reached_at THEN
      UPDATE leaderboard_entries SET created_at = reached_at WHERE id = NEW.id RETURNING created_at INTO kept_at;
      IF kept_at IS DISTINCT FROM reached_at THEN
        RAISE EXCEPTION USING ERRCODE = 'AJ002', MESSAGE = format(
          'leaderboard entry of %s (%s, %s %s, score %s): session %s was completed at %s, and a trigger keeps another created_at',
          NEW.player_address, NEW.game_type, NEW.period_type, NEW.period_date, NEW.score, NEW.session_id, reached_at);
      END IF;
    END IF;
  END IF;
  -- S08: the lock waits for a settlement that is under way, and a settlement waits for it. No pool, nothing to seal. Of
  -- equal scores and times the lowest id wins: it is sealed too.
  IF NEW.period_type <> 'alltime' AND (is_placed OR OLD.id <> NEW.id) THEN
    SELECT id, status INTO pool FROM prize_pools
    WHERE game_type = NEW.game_type AND period_type = NEW.period_type AND period_date = NEW.period_date
    FOR KEY SHARE;
    IF pool.status <> 'active' THEN
      RAISE EXCEPTION USING ERRCODE = 'AJ001', MESSAGE = format(
        'prize pool %s (%s, %s %s) is %s: no score of its period can be added or changed',
        pool.id, NEW.game_type, NEW.period_type, NEW.period_date, pool.status);
    END IF;
  END IF;
  IF is_moved THEN
    SELECT id, status INTO pool FROM prize_pools
    WHERE game_type = OLD.game_type AND period_type = OLD.period_type AND period_date = OLD.period_date
    FOR KEY SHARE;
    IF pool.status <> 'active' THEN
      RAISE EXCEPTION USING ERRCODE = 'AJ001', MESSAGE = format(
        'prize pool %s (%s, %s %s) is %s: no score can be moved out of its period',
        pool.id, OLD.game_type, OLD.period_type, OLD.period_date, pool.status);
    END IF;
    INSERT INTO leaderboard_touches (game_type, period_type, period_date)
    VALUES (OLD.game_type, OLD.period_type, OLD.period_date);
  END IF;
  IF is_placed THEN
    INSERT INTO leaderboard_touches (game_type, period_type, period_date)
    VALUES (NEW.game_type, NEW.period_type, NEW.period_date);
  END IF;
  RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION :"schema".arcade_jobs_guard_entry() FROM PUBLIC;

-- AFTER, and a condition instead of a list of columns: what counts is what the platform's own BEFORE triggers made of the
-- row. A rank fires nothing, nor does an upsert that changes nothing. The triggers of before are still there: until they
-- are dropped an entry is checked twice, and never not at all.
CREATE OR REPLACE TRIGGER arcade_jobs_guard_insert AFTER INSERT ON :"schema".leaderboard_entries
FOR EACH ROW EXECUTE FUNCTION :"schema".arcade_jobs_guard_entry();

CREATE OR REPLACE TRIGGER arcade_jobs_guard_update AFTER UPDATE ON :"schema".leaderboard_entries
FOR EACH ROW WHEN ((OLD.id, OLD.session_id, OLD.score, OLD.created_at, OLD.player_address, OLD.game_type, OLD.period_type, OLD.period_date) IS DISTINCT FROM (NEW.id, NEW.session_id, NEW.score, NEW.created_at, NEW.player_address, NEW.game_type, NEW.period_type, NEW.period_date)) EXECUTE FUNCTION :"schema".arcade_jobs_guard_entry();

-- With the six triggers that execute them: one moment in which writers wait, instead of six.
DROP FUNCTION IF EXISTS :"schema".arcade_jobs_check_entry(), :"schema".arcade_jobs_seal_entry(), :"schema".arcade_jobs_touch_board() CASCADE;

-- A tenth of what it costs to write a rank, since every CHECK of a row is evaluated at each update. An entry's game is that
-- of its session (S23), where the same pattern is checked.
ALTER TABLE :"schema".leaderboard_entries DROP CONSTRAINT IF EXISTS leaderboard_entries_game_type_check;
