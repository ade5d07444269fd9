-- How far did the champion's PDs move when a month was scored anew?
SELECT
    h.month,
    h.version AS version_before,
    s.version AS version_now,
    count(*) AS clients,
    round(avg(h.pd), 4) AS mean_pd_before,
    round(avg(s.pd), 4) AS mean_pd_now,
    round(avg(abs(s.pd - h.pd)), 4) AS mean_change,
    round(max(abs(s.pd - h.pd)), 4) AS largest_change
FROM scores_history AS h
INNER JOIN scores AS s ON h.month = s.month AND h.client_id = s.client_id
WHERE h.is_champion AND s.is_champion
GROUP BY h.month, h.version, s.version, h.superseded_by_run
ORDER BY h.month, h.superseded_by_run
