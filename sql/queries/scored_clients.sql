-- The models that scored a month, the champion first, with a fingerprint of their clients. Grain: model.
-- Owner: tasks/assess.py.
WITH counted AS (
    SELECT
        model,
        is_champion,
        count(*) AS clients,
        bit_xor(hash(client_id)) AS fingerprint
    FROM score_rows
    WHERE month = $month
    GROUP BY model, is_champion
)

SELECT
    c.model,
    s.version,
    s.basis,
    c.clients,
    c.fingerprint
FROM counted AS c
INNER JOIN scorings AS s ON s.month = $month
ORDER BY c.is_champion DESC, c.model
