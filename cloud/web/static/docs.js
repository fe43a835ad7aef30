// Starts Swagger UI on our own schema; a file of its own because the content policy allows no inline script.
const place = document.getElementById("swagger");
SwaggerUIBundle({ url: place.dataset.schema, domNode: place, deepLinking: true, validatorUrl: null });
