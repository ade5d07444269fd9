-- Whether a month's clients were loaded after its outcomes, which then have to be held against them again.
-- Grain: at most one row. Owner: tasks/load.py.
SELECT c.file_sha256
FROM files AS c
INNER JOIN files AS o ON c.month = o.month
WHERE
    c.month = $month
    AND c.kind = 'clients' AND c.is_current
    AND o.kind = 'outcomes' AND o.is_current
    AND c.loaded_at > o.loaded_at
