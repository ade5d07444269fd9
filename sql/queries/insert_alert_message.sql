-- One attempt to tell one alert to one receiver. Owner: tasks/notify.py.
INSERT INTO alert_messages BY NAME
SELECT
    $run_id AS run_id,
    $month AS month,
    $rule AS rule,
    $severity AS severity,
    $topic AS topic,
    $receiver AS receiver,
    $outcome AS outcome,
    $message::VARCHAR AS message,
    $told_at::TIMESTAMP AS told_at
