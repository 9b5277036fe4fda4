//! Whose records exist for whoever asks: a platform's, a region's, or everybody's. The one place that decides it by identifier;
//! lists have the same limits in their own SQL.

use super::sql::ToSql;
use super::{Store, StoreError};

/// The part of all records that exists for somebody; nothing in it: all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// what belongs to this platform
    pub platform: Option<String>,
    /// what belongs to projects whose region begins with this (GB/T 2260)
    pub region: Option<String>,
}

/// A kind of record that somebody may reach or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// a platform: of a region, whoever holds a project in it
    Platform,
    /// a project
    Project,
    /// a lesson of a project
    Lesson,
    /// a learner: of a region, who was ever enrolled in it; of a platform, whom it has named
    Learner,
    /// an enrolment
    Enrolment,
    /// a session
    Session,
}

impl Reach {
    /// Whether everything exists.
    pub fn is_everything(&self) -> bool {
        self.platform.is_none() && self.region.is_none()
    }

    /// The end of the region's range: what is before it and not before the region begins with it.
    pub(super) fn region_end(&self) -> Option<String> {
        // ':' follows '9', and regions are digits.
        self.region.as_ref().map(|region| format!("{region}:"))
    }

    /// Conditions on `project`, whose values are added to `values`: `end` is [`Reach::region_end`].
    pub(super) fn conditions<'a>(
        &'a self,
        project: &str,
        end: &'a Option<String>,
        values: &mut Vec<&'a dyn ToSql>,
    ) -> String {
        let mut sql = String::new();
        let mut and = |condition: &str, value: &'a Option<String>| {
            if value.is_some() {
                values.push(value);
                sql.push_str(&format!(" AND {project}.{condition} ?{}", values.len()));
            }
        };
        and("platform =", &self.platform);
        and("region >=", &self.region);
        and("region <", end);
        sql
    }
}

impl Thing {
    /// What it is called.
    pub fn word(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Project => "project",
            Self::Lesson => "lesson",
            Self::Learner => "learner",
            Self::Enrolment => "enrolment",
            Self::Session => "session",
        }
    }

    /// A query for the record `?1` that ends where conditions on `project` can follow.
    fn query(self) -> &'static str {
        match self {
            Self::Platform => "SELECT 1 FROM project WHERE project.platform = ?1",
            Self::Project => "SELECT 1 FROM project WHERE project.id = ?1",
            Self::Lesson => "SELECT 1 FROM lesson JOIN project ON project.id = lesson.project WHERE lesson.id = ?1",
            Self::Learner => {
                "SELECT 1 FROM enrolment JOIN project ON project.id = enrolment.project WHERE enrolment.learner = ?1"
            }
            Self::Enrolment => {
                "SELECT 1 FROM enrolment JOIN project ON project.id = enrolment.project WHERE enrolment.id = ?1"
            }
            Self::Session => "SELECT 1 FROM session JOIN project ON project.id = session.project WHERE session.id = ?1",
        }
    }
}

impl Store {
    /// Whether a record exists for whom this is the reach. For whom everything exists the answer is yes, whether there is such
    /// a record or not.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn reaches(&self, reach: &Reach, thing: Thing, id: &str) -> Result<bool, StoreError> {
        if reach.is_everything() {
            return Ok(true);
        }
        let (reach, id) = (reach.clone(), id.to_owned());
        self.read(move |connection| {
            match (&reach.platform, thing) {
                (Some(own), Thing::Platform) if reach.region.is_none() => return Ok(*own == id),
                (Some(own), Thing::Learner) if reach.region.is_none() => {
                    let named = "SELECT 1 FROM platform_learner WHERE learner = ?1 AND platform = ?2";
                    return Ok(connection.prepare_cached(named)?.exists([&id, own])?);
                }
                _ => {}
            }
            let end = reach.region_end();
            let mut values: Vec<&dyn ToSql> = vec![&id];
            let conditions = reach.conditions("project", &end, &mut values);
            let sql = format!("{}{conditions} LIMIT 1", thing.query());
            Ok(connection.prepare_cached(&sql)?.exists(values.as_slice())?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture;

    #[tokio::test]
    async fn what_is_of_another_region_or_platform_does_not_exist() {
        let (_folder, store) = fixture::store_with_session("s1").await;
        fixture::execute(
            &store,
            "UPDATE project SET region = '410105';
             INSERT INTO enrolment (id, project, learner, created_at) VALUES ('n1', 'j1', 'l1', 0);
             INSERT INTO platform_learner (platform, learner, created_at) VALUES ('p1', 'l1', 0);",
        )
        .await;
        let all = [
            (Thing::Platform, "p1"),
            (Thing::Project, "j1"),
            (Thing::Lesson, "e1"),
            (Thing::Learner, "l1"),
            (Thing::Enrolment, "n1"),
            (Thing::Session, "s1"),
        ];
        let region = |digits: &str| Reach { region: Some(digits.into()), platform: None };
        let platform = |id: &str| Reach { platform: Some(id.into()), region: None };
        for (thing, id) in all {
            for (reach, reached) in [
                (Reach::default(), true),
                (region("4101"), true),
                (region("410105"), true),
                (region("4102"), false),
                (region("41010"), true),
                (region("4"), true),
                (region("5"), false),
                (platform("p1"), true),
                (platform("p2"), false),
                (Reach { platform: Some("p1".into()), region: Some("42".into()) }, false),
            ] {
                assert_eq!(store.reaches(&reach, thing, id).await.unwrap(), reached, "{thing:?} {reach:?}");
            }
            assert!(!store.reaches(&region("4101"), thing, "nothing").await.unwrap(), "{thing:?}");
        }
    }
}
