-- Receivers that alerts of the given runs could not be sent to, with the newest reason. Grain: receiver.
-- Owner: tasks/alerts.py.
SELECT
    receiver,
    arg_max(message, told_at) AS reason
FROM alert_messages
WHERE outcome = 'failed' AND receiver <> 'events' AND run_id IN (SELECT unnest($runs::VARCHAR[]))
GROUP BY receiver
ORDER BY receiver
