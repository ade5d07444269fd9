-- The models that scored a month, the champion first, with a fingerprint of their clients. Grain: model.
-- Owner: tasks/assess.py.
SELECT
    model,
    version,
    basis,
    count(*) AS clients,
    bit_xor(hash(client_id)) AS fingerprint
FROM scores
WHERE month = $month
GROUP BY model, version, basis, is_champion
ORDER BY is_champion DESC, model
