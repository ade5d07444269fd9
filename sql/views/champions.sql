-- Who was champion from which month to which, and why. A person's choice counts from its month on, even where
-- that month has not been run again. Grain: reign. Owner: analysts.
CREATE OR REPLACE VIEW champions AS
WITH in_force AS (
    SELECT
        month,
        arg_max(model, decided_at) AS model,
        arg_max(version, decided_at) AS version,
        arg_max(reason, decided_at) AS reason
    FROM named_champions
    GROUP BY month
),

marked AS (
    SELECT
        *,
        coalesce(lag(model || '@' || version) OVER (ORDER BY month) <> model || '@' || version, TRUE) AS is_new
    FROM in_force
),

reigns AS (
    SELECT
        min(month) AS month,
        max(month) AS last_month,
        arg_min(model, month) AS model,
        arg_min(version, month) AS version,
        arg_min(reason, month) AS reason
    FROM (SELECT *, count(*) FILTER (WHERE is_new) OVER (ORDER BY month) AS reign FROM marked) AS numbered
    GROUP BY reign
),

changes AS (
    SELECT
        month,
        model,
        version,
        arg_max(action, decided_at) AS action,
        arg_max(reason, decided_at) AS reason,
        arg_max(decided_by, decided_at) AS decided_by,
        max(decided_at) AS decided_at
    FROM promotions
    GROUP BY month, model, version
)

SELECT
    r.month,
    r.last_month,
    r.model,
    r.version,
    c.action,
    coalesce(c.reason, r.reason) AS reason,
    c.decided_by,
    c.decided_at
FROM reigns AS r
LEFT JOIN changes AS c ON r.month = c.month AND r.model = c.model AND r.version = c.version
ORDER BY r.month;
