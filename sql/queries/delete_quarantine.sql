-- Forgets the rows set aside from one file, before they are written again. Owner: tasks/load.py.
DELETE FROM quarantine
WHERE month = $month AND kind = $kind AND file_sha256 = $sha256
