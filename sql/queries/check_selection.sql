-- Selection rate, true- and false-positive rate of the champion's cut-off by SEX. Grain: code. Owner: readers.
SELECT
    c.sex, count(s.flagged) AS judged, count(o.defaulted) AS known,
    avg(1 - s.flagged::INTEGER) AS selection_rate,
    avg(s.flagged::INTEGER) FILTER (WHERE o.defaulted = 1) AS true_positive_rate,
    avg(s.flagged::INTEGER) FILTER (WHERE o.defaulted = 0) AS false_positive_rate,
    sum(o.defaulted) / nullif(sum(s.pd) FILTER (WHERE o.defaulted IS NOT NULL), 0) AS observed_to_expected
FROM scores AS s
INNER JOIN clients AS c ON c.month = $month AND c.client_id = s.client_id
LEFT JOIN outcomes AS o ON o.month = $month AND o.client_id = s.client_id
WHERE s.month = $month AND s.is_champion
GROUP BY c.sex
ORDER BY c.sex
