-- Months up to the given one whose outcomes are known; the month itself counts only by the label column
-- of its own client file. Grain: month. Owner: tasks/decide.py.
SELECT DISTINCT month
FROM outcomes
WHERE month < $month OR (month = $month AND source = 'label')
ORDER BY month
