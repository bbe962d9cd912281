-- Checkpoints, leases, fingerprints, rejects and notes.

CREATE TABLE checkpoint (
    dataset text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    body json NOT NULL,
    written timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE lease (
    dataset text COLLATE "C" PRIMARY KEY,
    -- Nobody, when it was given back.
    owner text,
    -- Counts the holders; never goes back.
    fence bigint NOT NULL,
    expires timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Packed: 40 bytes a row, and its key behind its length. They do not compress.
CREATE TABLE fingerprint (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    generation bigint NOT NULL,
    live boolean NOT NULL,
    dataset text COLLATE "C" NOT NULL,
    run text COLLATE "C" NOT NULL,
    entries bytea NOT NULL,
    keys bytea NOT NULL
);
ALTER TABLE fingerprint ALTER COLUMN entries SET STORAGE EXTERNAL;
ALTER TABLE fingerprint ALTER COLUMN keys SET STORAGE EXTERNAL;
CREATE INDEX fingerprint_by_dataset ON fingerprint (dataset, live, generation, id);

CREATE TABLE reject (
    dataset text COLLATE "C" NOT NULL,
    -- Cut where it is too long for an index; then `long_key` is the whole.
    key text COLLATE "C" NOT NULL,
    long_key text,
    hash bytea NOT NULL,
    version bigint NOT NULL,
    run text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL,
    column_name text NOT NULL,
    reason text NOT NULL,
    hint text,
    raw text NOT NULL,
    PRIMARY KEY (dataset, key)
);

CREATE TABLE note (
    name text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    body text NOT NULL
);

-- Versions of notes, of which none is given twice.
CREATE TABLE note_count (
    one boolean PRIMARY KEY CHECK (one),
    last bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO note_count VALUES (true, 0);
