-- What the promotion gate said of the challenger that the month's run developed. Grain: at most one row.
-- Owner: tasks/alerts.py.
SELECT
    g.model,
    g.version,
    any_value(g.champion) AS champion,
    any_value(g.champion_version) AS champion_version,
    list(g.name ORDER BY g.position) FILTER (WHERE NOT g.passed) AS failed,
    list(g.name ORDER BY g.position) FILTER (WHERE g.passed IS NULL) AS unknown,
    count(p.promotion_id) > 0 AS promoted
FROM gate_checks AS g
LEFT JOIN promotions AS p
    ON
        g.month = p.month AND g.model = p.model AND g.version = p.version
        AND p.action IN ('first', 'gate', 'replacement')
WHERE g.month = $month
GROUP BY g.model, g.version
