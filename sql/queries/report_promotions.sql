-- Changes of champion, by the first set, the gate or a person ($month NULL: all months), oldest first.
-- Grain: one row per change. Owner: tasks.reports.
SELECT promotion_id, month, action, model, version, from_model, from_version, reason, decided_by, decided_at, run_id
FROM promotions
WHERE $month::VARCHAR IS NULL OR month = $month
ORDER BY month, decided_at, promotion_id
