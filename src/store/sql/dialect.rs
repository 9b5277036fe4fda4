//! What no single text says to both engines, in the words of each.

/// The SQL that an engine understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite's
    Sqlite,
    /// PostgreSQL's
    Postgres,
}

/// What is added to a moment, in seconds, so that days begin as they do in China.
const CHINA_OFFSET_S: i64 = 8 * 3_600;

impl Dialect {
    fn pick<T>(self, sqlite: T, postgres: T) -> T {
        match self {
            Self::Sqlite => sqlite,
            Self::Postgres => postgres,
        }
    }

    /// The day in China of a moment in ms since the epoch, as in `2026-03-01`.
    pub fn day(self, moment_ms: &str) -> String {
        self.date(moment_ms, "%Y-%m-%d", "YYYY-MM-DD")
    }

    /// The month in China of a moment in ms since the epoch, as in `2026-03`.
    pub fn month(self, moment_ms: &str) -> String {
        self.date(moment_ms, "%Y-%m", "YYYY-MM")
    }

    fn date(self, moment_ms: &str, sqlite: &str, postgres: &str) -> String {
        let moment_s = format!("{moment_ms} / 1000 + {CHINA_OFFSET_S}");
        self.pick(
            format!("strftime('{sqlite}', {moment_s}, 'unixepoch')"),
            format!("to_char(to_timestamp({moment_s}) AT TIME ZONE 'UTC', '{postgres}')"),
        )
    }

    /// How many elements a text has that is a JSON array.
    pub fn json_length(self, text: &str) -> String {
        self.pick(format!("json_array_length({text})"), format!("json_array_length({text}::json)"))
    }

    /// A table `name` with a column `value`: the texts of a text that is a JSON array.
    pub fn json_texts(self, text: &str, name: &str) -> String {
        self.pick(
            format!("json_each({text}) AS {name}"),
            format!("json_array_elements_text({text}::json) AS {name} (value)"),
        )
    }

    /// A JSON object, as text, of these names and expressions.
    pub fn json_object(self, members: &[(&str, &str)]) -> String {
        let members: Vec<String> = members.iter().map(|(name, value)| format!("'{name}', {value}")).collect();
        let function = self.pick("json_object", "json_build_object");
        format!("CAST({function}({}) AS TEXT)", members.join(", "))
    }

    /// The rules that a verdict's `body` says were broken: each once, in the order of the first violations, with commas
    /// between them; null when there are none.
    pub fn rules_broken(self, body: &str) -> String {
        let violations = self.pick(
            format!(
                "SELECT json_extract(each.value, '$.rule') AS rule, min(each.key) AS place
                 FROM json_each({body}, '$.violations') AS each GROUP BY rule"
            ),
            format!(
                "SELECT each.value ->> 'rule' AS rule, min(each.place) AS place
                 FROM json_array_elements({body}::json -> 'violations') WITH ORDINALITY AS each (value, place)
                 GROUP BY rule"
            ),
        );
        format!("(SELECT string_agg(rule, ',' ORDER BY place) FROM ({violations}) AS broken)")
    }

    /// Joins the rows of `table` as `name` whose `id` is found by `ids`, which may ask for what stands before it: `ids`
    /// first, once for each of these.
    pub fn join_found(self, table: &str, name: &str, ids: &str) -> String {
        self.pick(
            format!("JOIN {table} AS {name} ON {name}.id IN ({ids})"),
            format!("CROSS JOIN LATERAL ({ids}) AS found JOIN {table} AS {name} ON {name}.id = found.id"),
        )
    }

    /// A join whose right side is looked up for each row of the left: SQLite keeps the order of a `CROSS JOIN`, and
    /// PostgreSQL finds its own.
    pub fn then_join(self) -> &'static str {
        self.pick("CROSS JOIN", "JOIN")
    }

    /// A column that no index is to be chosen for: with a plus SQLite does not; PostgreSQL knows by its statistics.
    pub fn unindexed(self, column: &str) -> String {
        self.pick(format!("+{column}"), column.to_owned())
    }
}
