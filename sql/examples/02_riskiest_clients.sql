-- Who are the twenty riskiest clients of the newest month, and how much do they owe?
SELECT
    client_id,
    round(pd, 4) AS pd,
    points,
    grade,
    limit_bal,
    bill_amt1
FROM champion_scores
WHERE month = (SELECT max(month) FROM champion_scores)
ORDER BY pd DESC, client_id
LIMIT 20
