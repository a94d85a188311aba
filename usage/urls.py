"""Addresses of usage: of the whole organisation, and the same below a project's."""

from django.urls import path

from . import views

app_name = "usage"
urlpatterns = [
    path("usage/", views.report, name="organisation"),
    path("usage/worth/", views.worth, name="organisation-worth"),
    path("usage/rows/", views.rows, name="organisation-rows"),
    path("usage/rows.<str:form>", views.export, name="organisation-export"),
    path("usage/budgets/", views.budgets, name="organisation-budgets"),
    path("usage/budgets/<int:pk>/", views.budget, name="organisation-budget"),
    path("p/<slug:slug>/usage/", views.report, name="project"),
    path("p/<slug:slug>/usage/worth/", views.worth, name="project-worth"),
    path("p/<slug:slug>/usage/rows/", views.rows, name="project-rows"),
    path("p/<slug:slug>/usage/rows.<str:form>", views.export, name="project-export"),
    path("p/<slug:slug>/usage/budgets/", views.budgets, name="project-budgets"),
    path("p/<slug:slug>/usage/budgets/<int:pk>/", views.budget, name="project-budget"),
]
