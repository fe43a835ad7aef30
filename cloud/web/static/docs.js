// Starts Swagger UI on our own schema; a file of its own because the content policy allows no inline script.
const token = document.querySelector("meta[name=csrf]")?.content ?? "";
const place = document.getElementById("swagger");
SwaggerUIBundle({
  url: place.dataset.schema, domNode: place, deepLinking: true, validatorUrl: null,
  requestInterceptor: (request) => ({ ...request, headers: { ...request.headers, "X-CSRF-Token": token } }),
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // Swagger UI takes every # for one of its own
  document.getElementById("main").focus();
});
