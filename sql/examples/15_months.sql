-- What does each month hold: rows received and set aside, clients scored, outcomes known, and the runs it took?
WITH runs_of_month AS (
    SELECT
        month,
        count(*) AS runs,
        max(ended_at) AS last_run
    FROM runs
    GROUP BY month
)

SELECT
    f.month,
    f.revision,
    f.received,
    f.quarantined,
    p.clients AS scored,
    p.outcomes_known,
    p.model,
    p.basis,
    r.runs,
    r.last_run
FROM files AS f
LEFT JOIN portfolio_by_month AS p ON f.month = p.month
LEFT JOIN runs_of_month AS r ON f.month = r.month
WHERE f.kind = 'clients' AND f.is_current
ORDER BY f.month
