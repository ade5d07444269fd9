-- One model's scores of a month, without what all rows share. Grain: client. Owner: sql/publish.py.
SELECT client_id, score, pd, points, grade, flagged
FROM score_rows
WHERE month = $month AND model = $model
