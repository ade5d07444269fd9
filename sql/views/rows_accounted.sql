-- Rows received, accepted and set aside, file by file; received = accepted + quarantined, always.
-- Grain: file. Owner: analysts.
CREATE OR REPLACE VIEW rows_accounted AS
SELECT
    month,
    kind,
    file_name,
    revision,
    is_current,
    received,
    accepted,
    quarantined,
    received = accepted + quarantined AS adds_up
FROM files
ORDER BY month, kind, revision;
