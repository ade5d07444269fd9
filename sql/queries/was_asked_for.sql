-- Whether a person asked for this month's retraining in an earlier run. Grain: at most one row.
-- Owner: tasks/decide.py.
SELECT month
FROM retrain_rules
WHERE month = $month AND rule = 'asked for' AND met
UNION
SELECT month
FROM decisions
WHERE month = $month AND rule = 'asked for' AND verdict = 'retrain'
