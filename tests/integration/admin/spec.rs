//! `docs/openapi.json`: which operations there are, and whether a body is what it says.

use serde_json::Value;
use std::path::Path;

pub struct Spec(Value);

/// One method of one path.
pub struct Operation<'a> {
    pub method: String,
    /// The path, with something in place of the braces.
    pub path: String,
    /// The role that its key needs.
    pub role: Option<&'a str>,
    /// The examples of its body.
    pub examples: Vec<&'a Value>,
    pub query: bool,
}

impl Spec {
    pub fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        Self(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    pub fn operations(&self) -> Vec<Operation<'_>> {
        let mut operations = Vec::new();
        for (template, item) in self.0["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
                let parts: Vec<_> = template.split(['{', '}']).collect();
                let examples = operation["requestBody"]["content"]["application/json"]["examples"].as_object();
                operations.push(Operation {
                    method: method.to_uppercase(),
                    path: if parts.len() > 1 { format!("{}x{}", parts[0], parts[2]) } else { template.clone() },
                    role: operation["security"][0]["key"][0].as_str(),
                    examples: examples
                        .into_iter()
                        .flat_map(|examples| examples.values())
                        .map(|e| &e["value"])
                        .collect(),
                    query: operation["parameters"].as_array().is_some_and(|all| all.iter().any(|p| p["in"] == "query")),
                });
            }
        }
        operations
    }

    /// Holds an answer against the operation that it answers, or, where there is none, against the form of refusals.
    #[track_caller]
    pub fn check(&self, method: &str, path: &str, status: u16, media_type: &str, body: &Value) {
        let schema = match self.operation(method, path) {
            None => &self.0["components"]["schemas"]["Error"],
            Some(operation) => {
                let response = self.resolve(&operation["responses"][status.to_string()]);
                assert!(!response.is_null(), "{method} {path} is answered by {status}, of which nothing is written");
                let content = &response["content"][media_type];
                assert!(!content.is_null(), "{method} {path} is answered by {media_type}, of which nothing is written");
                &content["schema"]
            }
        };
        if let Err(wrong) = self.holds(schema, body) {
            panic!("{method} {path}, {status}: {wrong} in {body}");
        }
    }

    /// Whether a body is one that the operation takes.
    pub fn takes(&self, method: &str, path: &str, body: &Value) -> Result<(), String> {
        let operation = self.operation(method, path).unwrap();
        self.holds(&operation["requestBody"]["content"]["application/json"]["schema"], body)
    }

    /// All examples of answers, each with its schema.
    pub fn examples_hold(&self) {
        let operations =
            self.0["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
        let mut count = 0;
        for operation in operations.filter(|operation| operation.is_object()) {
            let (_, answer) = operation["responses"]["200"]["content"].as_object().unwrap().iter().next().unwrap();
            self.holds(&answer["schema"], &answer["example"]).unwrap_or_else(|wrong| panic!("{wrong}: {answer}"));
            count += 1;
        }
        assert!(count > 10);
    }

    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let path = path.split('?').next().unwrap();
        let is_meant = |template: &str| {
            let (own, given): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
            own.len() == given.len() && own.iter().zip(given).all(|(own, given)| own.starts_with('{') || *own == given)
        };
        let (_, item) = self.0["paths"].as_object().unwrap().iter().find(|(template, _)| is_meant(template))?;
        item.get(method.to_lowercase())
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        value
            .get("$ref")
            .map_or(value, |reference| self.0.pointer(reference.as_str().unwrap().strip_prefix('#').unwrap()).unwrap())
    }

    /// As much of JSON Schema as the file uses; what it does not know fails.
    fn holds(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let is =
            |holds: bool, what: &dyn std::fmt::Display| if holds { Ok(()) } else { Err(format!("{value}: {what}")) };
        for (keyword, rule) in schema.as_object().expect("a schema") {
            match &**keyword {
                "description" | "default" | "pattern" => {}
                "$ref" => self.holds(self.resolve(schema), value)?,
                "type" => {
                    let types = rule.as_array().map_or(vec![rule], |types| types.iter().collect());
                    is(types.iter().any(|name| is_of_type(value, name.as_str().unwrap())), rule)?;
                }
                "const" => is(value == rule, rule)?,
                "enum" => is(rule.as_array().unwrap().contains(value), rule)?,
                "minimum" => is(value.as_f64().is_none_or(|n| n >= rule.as_f64().unwrap()), rule)?,
                "maximum" => is(value.as_f64().is_none_or(|n| n <= rule.as_f64().unwrap()), rule)?,
                "minLength" => is(value.as_str().is_none_or(|text| text.len() as u64 >= rule.as_u64().unwrap()), rule)?,
                "maxLength" => is(value.as_str().is_none_or(|text| text.len() as u64 <= rule.as_u64().unwrap()), rule)?,
                "minItems" => is(value.as_array().is_none_or(|all| all.len() as u64 >= rule.as_u64().unwrap()), rule)?,
                "maxItems" => is(value.as_array().is_none_or(|all| all.len() as u64 <= rule.as_u64().unwrap()), rule)?,
                "items" => value.as_array().into_iter().flatten().try_for_each(|item| self.holds(rule, item))?,
                "required" => {
                    let mut names = rule.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                    is(names.all(|name| value.get(name).is_some()), rule)?;
                }
                "properties" => {
                    for (name, schema) in rule.as_object().unwrap() {
                        value.get(name).map_or(Ok(()), |member| self.holds(schema, member))?;
                    }
                }
                "additionalProperties" => {
                    assert_eq!(rule, false);
                    let known = schema["properties"].as_object().unwrap();
                    let mut names = value.as_object().into_iter().flat_map(|object| object.keys());
                    is(names.all(|name| known.contains_key(name)), &"an unknown field")?;
                }
                "allOf" => rule.as_array().unwrap().iter().try_for_each(|schema| self.holds(schema, value))?,
                "anyOf" => is(self.matching(rule, value) > 0, rule)?,
                "oneOf" => is(self.matching(rule, value) == 1, rule)?,
                unknown => panic!("the keyword {unknown} is unknown here"),
            }
        }
        Ok(())
    }

    fn matching(&self, schemas: &Value, value: &Value) -> usize {
        schemas.as_array().unwrap().iter().filter(|schema| self.holds(schema, value).is_ok()).count()
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        unknown => panic!("the type {unknown} is unknown here"),
    }
}
