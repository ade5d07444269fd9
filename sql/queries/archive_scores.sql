-- Keeps the scores that are about to be replaced. Owner: tasks/score.py.
INSERT INTO scores_history BY NAME
SELECT
    *,
    $run_id AS superseded_by_run
FROM scores
WHERE month = $month
