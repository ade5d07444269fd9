-- Clients of a month with their outcomes: of those who paid and of those who defaulted as many as wanted, by the
-- smallest lots (see training_strata). Rows beyond the last lot range are dropped before any is sorted, and only
-- the rows chosen are read in full, so that memory follows the sample and not the month.
-- Grain: client. Owner: tasks/develop.py.
WITH known AS (
    SELECT
        o.defaulted,
        c.client_id,
        md5_number_lower(concat_ws('|', $seed, c.month, c.client_id)) AS lot
    FROM clients AS c
    INNER JOIN outcomes AS o ON c.client_id = o.client_id
    WHERE c.month = $month AND o.month = $month
),

drawn AS (
    SELECT client_id, defaulted
    FROM known
    WHERE lot >> 52 <= if(defaulted = 1, $last_range_defaulted, $last_range_paid)
    QUALIFY
        row_number() OVER (PARTITION BY defaulted ORDER BY lot, client_id)
        <= if(defaulted = 1, $rows_defaulted, $rows_paid)
)

SELECT
    c.* EXCLUDE (row_number, file_sha256),
    d.defaulted
FROM clients AS c
INNER JOIN drawn AS d ON c.client_id = d.client_id
WHERE c.month = $month
ORDER BY c.client_id
