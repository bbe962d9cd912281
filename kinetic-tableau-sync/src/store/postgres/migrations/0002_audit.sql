-- The audit trail: one hash chain for each dataset, and the records as rows.

-- Both ends of each chain. Whoever appends locks its row.
CREATE TABLE audit_chain (
    dataset text COLLATE "C" PRIMARY KEY,
    -- The last entry.
    sequence bigint NOT NULL,
    hash bytea NOT NULL,
    -- The last entry that was removed from the beginning.
    pruned bigint NOT NULL,
    anchor bytea NOT NULL
) WITH (fillfactor = 50);

-- Entries of the chains: segments, with what their records have in common, and events.
CREATE TABLE audit_entry (
    id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    -- From 1 on in each dataset, without gaps.
    sequence bigint NOT NULL,
    -- Moments have nanoseconds: the part below microseconds stands by itself.
    at timestamptz NOT NULL,
    nanos smallint NOT NULL,
    dataset text COLLATE "C" NOT NULL,
    run text COLLATE "C" NOT NULL,
    -- SHA-256 of the hash before, the sequence, the kind and the content.
    hash bytea NOT NULL,
    -- Of events: the name, and all of it as JSON.
    event text,
    body json,
    -- Of segments.
    records integer,
    company text,
    project text,
    datasource text,
    request_id text,
    dimension_names text[],
    PRIMARY KEY (dataset, sequence)
);
CREATE INDEX audit_entry_by_run ON audit_entry (run);
CREATE INDEX audit_entry_by_time ON audit_entry (at, id);
CREATE INDEX audit_entry_by_dataset ON audit_entry (dataset, at, id);

-- Partitions are made by the month, when they are needed.
CREATE TABLE audit_record (
    at timestamptz NOT NULL,
    entry bigint NOT NULL,
    version bigint NOT NULL,
    position integer NOT NULL,
    -- 1 insert, 2 update, 3 delete, 4 reject.
    action smallint NOT NULL,
    hash bytea NOT NULL,
    key text COLLATE "C" NOT NULL,
    -- The last or only part of the key; cut where it is too long for an index.
    key_part text COLLATE "C" NOT NULL,
    row_id text,
    stamp text,
    reason text,
    dimensions text[]
) PARTITION BY RANGE (at);
-- All records of a segment are one entry of this index.
CREATE INDEX audit_record_by_entry ON audit_record (at, entry);
-- Keys come in any order and may be long; their hashes cost half as much as they themselves.
CREATE INDEX audit_record_by_key ON audit_record USING hash (key);
CREATE INDEX audit_record_by_key_part ON audit_record (key_part);

-- Segments that were pruned while their records are still being removed.
CREATE TABLE audit_removal (
    entry bigint PRIMARY KEY,
    at timestamptz NOT NULL
);

-- The trail for readers.
CREATE VIEW audit_trail AS
    SELECT
        e.dataset,
        e.run,
        r.at,
        e.sequence,
        r.position,
        CASE r.action WHEN 1 THEN 'insert' WHEN 2 THEN 'update' WHEN 3 THEN 'delete' ELSE 'reject' END AS action,
        r.key,
        r.key_part,
        r.version,
        r.row_id,
        r.stamp,
        encode(r.hash, 'hex') AS hash,
        r.reason,
        e.dimension_names,
        r.dimensions,
        e.company,
        e.project,
        e.datasource,
        e.request_id,
        l.job_id,
        l.run IS NOT NULL AND r.action <> 4 AS landed
    FROM audit_record r
    JOIN audit_entry e ON e.id = r.entry AND e.at = r.at
    LEFT JOIN LATERAL (
        SELECT i.run, i.body -> 'event' -> 'receipt' ->> 'job_id' AS job_id
        FROM audit_entry i
        WHERE i.dataset = e.dataset AND i.run = e.run AND i.event = 'landed'
        ORDER BY i.sequence DESC
        LIMIT 1
    ) l ON true;
