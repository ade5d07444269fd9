-- Why are the ten riskiest clients of the newest month that risky?
WITH riskiest AS (
    SELECT
        month,
        client_id,
        pd
    FROM champion_scores
    WHERE month = (SELECT max(month) FROM champion_scores)
    ORDER BY pd DESC, client_id
    LIMIT 10
)

SELECT
    r.client_id,
    round(r.pd, 4) AS pd,
    c.rank,
    c.reason,
    round(c.contribution, 2) AS log_odds,
    c.unusual
FROM riskiest AS r
INNER JOIN client_reasons AS c ON r.month = c.month AND r.client_id = c.client_id
ORDER BY r.pd DESC, r.client_id, c.rank
